"""SNMP: asking devices through pysnmp, and what their values mean by their profiles."""
