"""The report of ``tools/soft_labels_report.py`` on the soft labels of a teacher."""
