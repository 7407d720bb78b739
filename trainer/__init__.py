"""The reference trainer of finetuned, under trainer contract v1. See trainer/README.md."""
