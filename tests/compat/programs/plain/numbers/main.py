"""Decimals, fractions, big integers and floats print the same everywhere."""

import decimal
import fractions
import math
import statistics

decimal.getcontext().prec = 40
print(decimal.Decimal(2).sqrt(), fractions.Fraction(22, 7) + 1)
print(2**200, math.factorial(30), 0.1 + 0.2, 1e22, float("nan"), -0.0)
print(math.sin(1e6), math.exp(1), math.gamma(5.5), math.comb(50, 25))
print(statistics.stdev([1.5, 2.5, 4]), statistics.quantiles(range(1, 11), n=4))
try:
    int("9" * 5000)
except ValueError as error:
    print(str(error)[:30])
