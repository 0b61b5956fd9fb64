@echo off
rem uninstall.cmd: stops and deletes the service, with its log and its rule in the firewall. Run it as administrator.
"%~dp0socket-state-exporter.exe" service remove
