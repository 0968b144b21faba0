"""What was found, as one page that stands alone: values in, HTML out."""
