import os

print(os.environ["MODE"], os.environ.get("CUSTOMER_ID"))
