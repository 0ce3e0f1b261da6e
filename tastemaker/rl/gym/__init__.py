"""A policy learns to play Gymnasium environments, by the same algorithms that steer a GPT."""
