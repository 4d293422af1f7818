# One request, in a process of its own: `command.ps1 <id>` reads work\<id>.json, answers in the outbox.
param([Parameter(Mandatory)][ValidatePattern('^[0-9a-f]{32}$')][string]$Id)
Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot\state.ps1"
. "$PSScriptRoot\residue.ps1"
. "$PSScriptRoot\sessions.ps1"
. "$PSScriptRoot\gates.ps1"
. "$PSScriptRoot\looks.ps1"
. "$PSScriptRoot\reset.ps1"

$Asked = '^(?<verb>health|status|preflight|start|verify|follow)( (?<reset>[0-9A-Za-z][0-9A-Za-z_-]{0,31}\.[0-9]{1,4}))?( (?<seq>[0-9]{1,6}))?$'
$Answer = Join-Path $Root "outbox\$Id.jsonl"

function Invoke-Verb($Config, [string]$Verb, [string]$ResetId, [string]$Job) {
    switch -CaseSensitive ($Verb) {
        'health' { Write-Line $Answer (Get-Health $Config) }
        'status' { Write-Line $Answer @{ v = 1; last = (Get-LastDone) } }
        'preflight' {
            $active = @(Get-GuestSessions $Config | Where-Object { -not $_.idle })
            Write-Line $Answer @{ v = 1; busy = [bool](Get-RunningReset); in_use = ($active.Count -gt 0); profiles = @('standard') }
        }
        'verify' { Write-Line $Answer (Get-Proof $Config $ResetId) }
        'start' { Start-Reset $Config $Job $Answer }
        'follow' { Write-End $ResetId }
    }
}

function Write-End([string]$ResetId) {
    # The end of a reset whose connection was lost; waits for it as long as the watchdog lets us.
    while ($true) {
        $run = Find-Run $ResetId
        if (-not $run) {
            Write-Line $Answer @{ event = 'unknown_reset' }
            return
        }
        if ($run.phase -cne 'running') {
            Write-Line $Answer @{ event = 'end'; reset_id = $ResetId; result = $run.result; reason = $run.reason; repeated = $true }
            return
        }
        Start-Sleep -Milliseconds 500
    }
}

try {
    $request = [IO.File]::ReadAllText((Join-Path $Root "work\$Id.json")) | ConvertFrom-Json
    if ([string]$request.asked -cnotmatch $Asked) { throw 'bad_request' }
    $reset = if ($Matches.ContainsKey('reset')) { $Matches['reset'] } else { '' }
    Invoke-Verb (Get-Config) $Matches['verb'] $reset ([string]$request.job)
} catch {
    # The kind alone: an error's text may name a guest's file.
    Write-Line $Answer @{ event = 'end'; result = 'failed'; reason = 'failed'; detail = $_.Exception.GetType().Name }
    exit 1
}
exit 0
