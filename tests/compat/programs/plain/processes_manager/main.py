"""A manager: a server process behind a socket in the folder for temporary files."""

import multiprocessing


def note(shared, number):
    shared[number] = number * number


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        processes = [multiprocessing.Process(target=note, args=(shared, n)) for n in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print(sorted(shared.items()))
