"""Algebra by sympy."""

import sympy as sp

x, y = sp.symbols("x y")
print(sp.expand((x + y) ** 3), sp.solve(x**2 - 2, x), sp.integrate(sp.exp(-(x**2)), (x, -sp.oo, sp.oo)))
sp.pprint(sp.Matrix([[1, x], [y, 2]]).inv())
print(sp.latex(sp.diff(sp.sin(x) / x, x)), sp.N(sp.pi, 40))
