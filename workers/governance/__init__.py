"""What schema owners and operators do with contracts: check, compare, document, register."""
