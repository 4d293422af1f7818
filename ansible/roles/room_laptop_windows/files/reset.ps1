# The reset: every step ensures a state, so that the same order may come again. While it runs, and
# when it fails, the guest's account is disabled: nobody sits down at another's traces.

function Invoke-Step($Config, [string]$Answer, [string]$ResetId, [string]$Name, [scriptblock]$What) {
    $clock = [Diagnostics.Stopwatch]::StartNew()
    & $What $Config (Get-GuestSid $Config) | Out-Null
    Write-Line $Answer @{ event = 'step'; reset_id = $ResetId; step = $Name; status = 'ok'; ms = $clock.ElapsedMilliseconds }
}

function Get-Steps {
    # A block knows nothing of where it was written: all that it needs is handed to it.
    return [ordered]@{
        lock     = { param($Config, $Sid) Disable-LocalUser -SID $Sid }
        sessions = { param($Config, $Sid) if (-not (Stop-GuestSessions $Config 45)) { throw 'sessions' } }
        profiles = {
            param($Config, $Sid)
            # By CIM: deleting the folder alone leaves the list of profiles, and a TEMP one next time.
            foreach ($one in (Get-GuestProfiles $Config)) { Remove-CimInstance -InputObject $one }
        }
        folders  = { param($Config, $Sid) foreach ($one in (Get-StrayFolders $Config)) { Remove-Tree $one.FullName } }
        printing = { param($Config, $Sid) Clear-Spooler }
        wifi     = { param($Config, $Sid) foreach ($one in (Get-ForeignNetworks $Config)) { Remove-Network $one } }
        temp     = { param($Config, $Sid) Remove-Owned "$env:SystemRoot\Temp" $Sid }
        public   = {
            param($Config, $Sid)
            foreach ($folder in [IO.Directory]::GetDirectories((Join-Path $Config.users 'Public'))) {
                Remove-Owned $folder $Sid
            }
        }
        recycle  = { param($Config, $Sid) foreach ($path in (Get-RecycleFolders $Sid)) { Remove-Tree $path } }
        downloads = {
            param($Config, $Sid)
            Get-BitsTransfer -AllUsers | Where-Object { $_.OwnerAccount -like "*\$($Config.guest)" } | Remove-BitsTransfer
        }
        unlock   = { param($Config, $Sid) Enable-LocalUser -SID $Sid }
    }
}

function Clear-Spooler {
    # Where printing is switched off there is no queue, and nothing that could be started again.
    if ((Get-Service -Name Spooler).StartType -eq 'Disabled') { return }
    Stop-Service -Name Spooler -Force
    try {
        foreach ($path in [IO.Directory]::GetFiles("$env:SystemRoot\System32\spool\PRINTERS")) { [IO.File]::Delete($path) }
    } finally {
        Start-Service -Name Spooler
    }
}

function Remove-Network($Network) {
    # The name is a guest's: quotes would end the argument, so such a one is not passed on. Its file
    # goes in any case, else a name would be enough to make every reset fail.
    if ($Network.name -notmatch '["%]') {
        & "$env:SystemRoot\System32\netsh.exe" wlan delete profile "name=$($Network.name)" | Out-Null
    }
    [IO.File]::Delete($Network.path)
}

function Start-Reset($Config, [string]$Text, [string]$Answer) {
    # At most once per order; the last line of the answer is its end.
    $job = ConvertTo-Job $Text
    if (-not $job) {
        Write-Line $Answer @{ event = 'end'; result = 'refused'; reason = 'bad_job' }
        return
    }
    $end = @{ event = 'end'; reset_id = $job.reset_id }
    $mutex = New-Object Threading.Mutex($false, 'Global\RaumwartReset')
    try {
        $free = $mutex.WaitOne(0)
    } catch [Threading.AbandonedMutexException] {
        $free = $true
    }
    if (-not $free) {
        Write-Line $Answer ($end + @{ result = 'refused'; reason = 'busy' })
        return
    }
    try {
        $known = Find-Run $job.reset_id
        if ($known -and $known.phase -cne 'running') {
            Write-Line $Answer ($end + @{ result = $known.result; reason = $known.reason; repeated = $true })
            return
        }
        $reason = Get-Refusal $job $Config (Get-Now)
        if ($reason) {
            Write-Line $Answer ($end + @{ result = 'refused'; reason = $reason })
            return
        }
        Write-Line $Answer ($end + (Invoke-Reset $Config $job $Answer))
    } finally {
        $mutex.ReleaseMutex()
        $mutex.Dispose()
    }
}

function Invoke-Reset($Config, $Job, [string]$Answer) {
    $run = @{ reset_id = $Job.reset_id; phase = 'running'; started_at = (Get-Now).ToString('o'); result = ''; reason = '' }
    Save-Run $run
    $step = ''
    $outcome = @{ result = 'ok' }
    try {
        $steps = Get-Steps
        foreach ($name in @($steps.Keys)) {
            $step = $name
            Invoke-Step $Config $Answer $Job.reset_id $name $steps[$name]
        }
    } catch {
        # The kind of the error, never its text: that may name a guest's file.
        $outcome = @{ result = 'failed'; reason = 'step_failed'; step = $step; detail = $_.Exception.GetType().Name }
    }
    $run.phase = if ($outcome.result -ceq 'ok') { 'done' } else { 'failed' }
    $run.result = $outcome.result
    $run.reason = [string]$outcome['reason']
    $run.finished_at = (Get-Now).ToString('o')
    Save-Run $run
    return $outcome
}
