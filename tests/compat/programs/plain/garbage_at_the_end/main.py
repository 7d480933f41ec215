"""Objects with a finaliser, at the end of the interpreter."""

import weakref


class Resource:
    def __del__(self):
        print("collected")


kept = Resource()
weakref.finalize(kept, print, "finalised")
print("last line of the script")
