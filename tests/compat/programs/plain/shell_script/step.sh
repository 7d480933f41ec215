echo "step $1"
echo "trouble" >&2
exit 5
