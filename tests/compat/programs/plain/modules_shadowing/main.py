"""A module of the folder with a name that others use wins, as it does with plain Python."""

import plan
import prepare
import supervisor

print(plan.WHAT, prepare.WHAT, supervisor.WHAT)
