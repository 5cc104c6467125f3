"""``attnbench-model``: from a transformers model to tensors, to a plan, to what the plan costs.

``capture`` writes queries, keys and values, ``evaluate`` measures the loss and the time of a plan,
``choose`` goes the whole way.
"""
