"""One Kubeflow component; see component.py."""
