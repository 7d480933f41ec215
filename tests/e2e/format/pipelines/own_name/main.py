import os

print(os.environ["FROM"])
