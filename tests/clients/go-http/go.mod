module oribi/go-http

go 1.24
