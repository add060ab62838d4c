"""Experiments: architectures contrasted by running them."""
