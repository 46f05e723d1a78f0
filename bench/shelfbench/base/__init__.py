"""What every room uses and what uses none: errors, console, storage, processor, tables of text."""
