"""`lab fleet`: a running network of mirrors, watched while a new file reaches all of them."""
