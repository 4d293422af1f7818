# Whether a reset may begin now: the last hop's own check, before anything is touched.

function ConvertTo-Moment($Text) {
    if ($Text -is [DateTime]) { return [DateTimeOffset]$Text.ToUniversalTime() }
    return [DateTimeOffset]::Parse([string]$Text, [Globalization.CultureInfo]::InvariantCulture)
}

function Get-Field($Object, [string]$Name, $Usual) {
    if (@($Object.PSObject.Properties.Name) -ccontains $Name -and $null -ne $Object.$Name) { return $Object.$Name }
    return $Usual
}

function ConvertTo-Job([string]$Text) {
    # The job, or $null when it makes no sense.
    try {
        $job = $Text | ConvertFrom-Json
        if ($job.v -ne 1 -or $job.reset_id -cnotmatch '^[0-9A-Za-z][0-9A-Za-z_-]{0,31}\.[0-9]{1,4}$') { return $null }
        if ($job.max_runtime_s -isnot [int] -or $job.max_runtime_s -lt 1 -or $job.max_runtime_s -gt 3600) { return $null }
        $next = Get-Field $job 'next_start' $null
        return @{
            reset_id      = $job.reset_id
            sent_at       = ConvertTo-Moment $job.sent_at
            not_before    = ConvertTo-Moment $job.not_before
            not_after     = ConvertTo-Moment $job.not_after
            next_start    = if ($next) { ConvertTo-Moment $next } else { $null }
            max_runtime_s = $job.max_runtime_s
            serial        = [string](Get-Field $job 'serial' '')
            tier          = [string](Get-Field $job 'tier' 'quick')
            profile       = [string](Get-Field $job 'profile' 'standard')
            end_sessions  = (Get-Field $job 'on_active_session' 'refuse') -ceq 'end'
        }
    } catch {
        return $null
    }
}

function Get-Refusal($Job, $Config, [DateTimeOffset]$Now) {
    # The first reason that speaks against it; empty when none does.
    if ($Job.serial -and (Get-Serial) -ne $Job.serial.Trim()) { return 'wrong_device' }
    if ([Math]::Abs(($Now - $Job.sent_at).TotalSeconds) -gt 30) { return 'clock_in_doubt' }
    if ($Now -lt $Job.not_before) { return 'too_early' }
    if ($Now -gt $Job.not_after) { return 'expired' }
    if ($Job.next_start -and $Now.AddSeconds($Job.max_runtime_s) -gt $Job.next_start) { return 'too_late' }
    if ($Job.tier -cne 'quick') { return 'unsupported_tier' }
    if ($Job.profile -cne 'standard') { return 'unknown_profile' }
    $active = @(Get-GuestSessions $Config | Where-Object { -not $_.idle })
    if (-not $Job.end_sessions -and $active.Count -gt 0) { return 'in_use' }
    return ''
}
