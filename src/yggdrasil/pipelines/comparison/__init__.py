"""YggDrasil and Diffusers side by side, on the same inputs.

Nothing is imported here: the processes that measure memory must hold one side alone.
"""
