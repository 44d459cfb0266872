"""Codecs: pictures to latents and back."""
