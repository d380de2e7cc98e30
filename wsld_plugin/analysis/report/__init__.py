"""Behind ``tools/soft_labels_report.py``: a page that tells what a teacher's soft labels are like."""
