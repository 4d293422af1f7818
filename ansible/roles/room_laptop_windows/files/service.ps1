# What the scheduled task runs as SYSTEM from the start on: it takes requests out of the inbox and
# runs each in a process of its own, a reset with a hard end. It trusts the inbox no more than anybody.
Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot\state.ps1"

$MaxRequest = 65536
$KeepMinutes = 60
$LookSeconds = 60

function Get-Order([string]$Work) {
    # Which reset it asks for, empty for a look, and how long the request may take: a look is short,
    # a reset says its own time.
    try {
        $request = [IO.File]::ReadAllText($Work) | ConvertFrom-Json
        if ($request.asked -cne 'start') { return @{ reset = ''; seconds = $LookSeconds } }
        $job = $request.job | ConvertFrom-Json
        $seconds = [Math]::Max(1, [Math]::Min([int]$job.max_runtime_s, 3600))
        return @{ reset = [string]$job.reset_id; seconds = $seconds }
    } catch {
        return @{ reset = ''; seconds = $LookSeconds }
    }
}

function Start-Request([string]$Path) {
    # Moved first, into a folder that the account cannot reach: nobody exchanges it any more.
    $id = [IO.Path]::GetFileNameWithoutExtension($Path)
    $work = Join-Path $Root "work\$id.json"
    $about = New-Object IO.FileInfo($Path)
    if ($about.Length -gt $MaxRequest -or ($about.Attributes -band [IO.FileAttributes]::ReparsePoint)) {
        [IO.File]::Delete($Path)
        return $null
    }
    [IO.File]::Move($Path, $work)
    $arguments = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$PSScriptRoot\command.ps1`" $id"
    $process = Start-Process -FilePath "$PSHOME\powershell.exe" -ArgumentList $arguments -PassThru -WindowStyle Hidden
    $order = Get-Order $work
    return @{ id = $id; process = $process; reset = $order.reset; until = [DateTime]::UtcNow.AddSeconds($order.seconds) }
}

function Complete-Request($Running) {
    $answer = Join-Path $Root "outbox\$($Running.id).jsonl"
    if (-not $Running.process.HasExited) {
        # The watchdog: what is left over is stopped, and says so.
        & "$env:SystemRoot\System32\taskkill.exe" /PID $Running.process.Id /T /F | Out-Null
        $end = @{ result = 'failed'; reason = 'too_long' }
        Stop-Run $Running.reset $end
        Write-Line $answer (@{ event = 'end'; reset_id = $Running.reset } + $end)
    }
    [IO.File]::WriteAllText((Join-Path $Root "outbox\$($Running.id).end"), '')
    [IO.File]::Delete((Join-Path $Root "work\$($Running.id).json"))
}

function Stop-Run([string]$ResetId, $End) {
    # A reset that was killed cannot write its own end into the journal.
    $run = Find-Run $ResetId
    if ($run -and $run.phase -ceq 'running') {
        Save-Run @{
            reset_id = $run.reset_id; phase = 'failed'; started_at = $run.started_at
            finished_at = (Get-Now).ToString('o'); result = $End.result; reason = $End.reason
        }
    }
}

function Remove-Old {
    $old = [DateTime]::UtcNow.AddMinutes(-$KeepMinutes)
    foreach ($path in [IO.Directory]::GetFiles((Join-Path $Root 'outbox'))) {
        if ([IO.File]::GetLastWriteTimeUtc($path) -lt $old) { [IO.File]::Delete($path) }
    }
}

$running = @()
while ($true) {
    try {
        foreach ($path in [IO.Directory]::GetFiles((Join-Path $Root 'inbox'), '*.json')) {
            if ([IO.Path]::GetFileName($path) -cnotmatch '^[0-9a-f]{32}\.json$') { continue }
            try {
                $begun = Start-Request $path
                if ($begun) { $running += $begun }
            } catch {
                # One that somebody holds open must not keep the others waiting.
                Write-Warning ($_.Exception.GetType().Name)
            }
        }
        $now = [DateTime]::UtcNow
        foreach ($one in @($running | Where-Object { $_.process.HasExited -or $_.until -lt $now })) {
            Complete-Request $one
            $running = @($running | Where-Object { $_.id -ne $one.id })
        }
        Remove-Old
    } catch {
        Write-Warning ($_.Exception.GetType().Name)
    }
    Start-Sleep -Milliseconds 300
}
