"""A package that is nowhere."""

print("about to import")
import no_such_package_anywhere  # noqa
