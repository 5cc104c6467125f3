print("attnbench")
