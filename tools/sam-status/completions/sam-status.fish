complete -c sam-status -l watch -d 'Print the list again every SECONDS (0.1 to 86400, without a number 2)' -r -f
complete -c sam-status -l pid -d 'Print the pid of the instance of one program' -r -f
complete -c sam-status -l supervisor -d 'Print the pid of the supervisor of one program' -r -f
complete -c sam-status -l json -d 'Print a JSON array'
complete -c sam-status -l openmetrics -d 'Print metrics, for the textfile collector of node_exporter'
complete -c sam-status -l wide -d 'Print all columns, also beyond the width of the terminal'
complete -c sam-status -s h -l help -d 'Print help'
complete -c sam-status -s V -l version -d 'Print version'
