"""The optional bootstrap: who else has this share?"""
