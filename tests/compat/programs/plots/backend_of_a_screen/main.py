"""A backend that needs a screen is an error that says so."""

import matplotlib

try:
    matplotlib.use("tkagg", force=True)
    import matplotlib.pyplot as plt

    plt.figure()
    print("a screen")
except ImportError:
    print("no screen")
