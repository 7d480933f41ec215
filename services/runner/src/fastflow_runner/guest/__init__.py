"""What runs inside a sandbox: standard library only. It imports nothing of ours; the image gets the folder as it is."""
