@echo off
rem install.cmd [FLAG ...]: installs the service, or changes it, and starts it. Run it as administrator.
rem Flags are those of the exporter, and --service.firewall for a rule in the firewall.
"%~dp0socket-state-exporter.exe" service install %*
