"""A second of arithmetic."""

primes, candidate = [], 2
while len(primes) < 6000:
    if all(candidate % prime for prime in primes if prime * prime <= candidate):
        primes.append(candidate)
    candidate += 1
print(primes[-1], sum(primes))
