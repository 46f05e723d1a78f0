"""What every other room uses, and which uses none of them: errors, console, storage, processor, tables of text."""
