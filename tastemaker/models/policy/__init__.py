"""A policy: a causal language model that writes, and says how likely it was to write what it wrote."""
