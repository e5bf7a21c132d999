"""What is compared with something outside: official outputs, weight files, conventions, pycocotools."""
