import time

held = bytearray(64 * 2**20)
time.sleep(2.5)
print(len(held))
