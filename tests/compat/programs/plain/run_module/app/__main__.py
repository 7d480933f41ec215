import sys

ARGUMENTS = sys.argv[1:]
if __name__ == "__main__":
    print("app", ARGUMENTS)
