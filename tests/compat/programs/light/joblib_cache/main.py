"""Work in processes by joblib, and results kept on the disk."""

from joblib import Memory, Parallel, delayed

memory = Memory("cache", verbose=0)
calls = []


@memory.cache
def slow(number):
    calls.append(number)
    return number * number


def double(number):
    return 2 * number


if __name__ == "__main__":
    print([slow(2), slow(2), slow(3)], calls)
    print(Parallel(n_jobs=2)(delayed(double)(n) for n in range(6)))
    print(Parallel(n_jobs=2, prefer="threads")(delayed(pow)(n, 3) for n in range(4)))
    memory.clear(warn=False)
    import shutil

    shutil.rmtree("cache")
