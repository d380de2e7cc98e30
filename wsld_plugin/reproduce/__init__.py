"""Series of training runs, and the tables and pictures made of them."""
