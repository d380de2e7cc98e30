"""The page of ``tools/soft_labels_report.py``: what a teacher's soft labels are like."""
