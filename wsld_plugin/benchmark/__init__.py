"""How long training takes: one step in variants (``step``), and short runs (``train``)."""
