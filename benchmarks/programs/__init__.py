"""Programs that are measured, each as a whole process."""
