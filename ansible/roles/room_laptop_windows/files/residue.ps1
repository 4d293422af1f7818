# The places where a visitor leaves traces: each is counted and cleaned by the same search.
# Nothing here follows a link: a junction in a guest's folder is removed, never entered.

function Get-GuestSid($Config) {
    return (Get-LocalUser -Name $Config.guest).SID.Value
}

function Remove-Tree([string]$Path) {
    $about = New-Object IO.DirectoryInfo($Path)
    if (-not $about.Exists) { return }
    if (-not ($about.Attributes -band [IO.FileAttributes]::ReparsePoint)) {
        foreach ($entry in $about.GetFileSystemInfos()) {
            if ($entry -is [IO.DirectoryInfo]) {
                Remove-Tree $entry.FullName
            } else {
                Remove-File $entry
            }
        }
    }
    [IO.Directory]::Delete($Path, $false)
}

function Get-OwnedBy([string]$Folder, [string]$Sid) {
    # Files and folders directly in this folder that belong to the guest.
    if (-not [IO.Directory]::Exists($Folder)) { return @() }
    $found = @()
    foreach ($entry in (New-Object IO.DirectoryInfo($Folder)).GetFileSystemInfos()) {
        try {
            $owner = $entry.GetAccessControl().GetOwner([Security.Principal.SecurityIdentifier]).Value
        } catch [UnauthorizedAccessException] {
            continue
        } catch [IO.IOException] {
            continue
        }
        if ($owner -ceq $Sid) { $found += $entry }
    }
    return $found
}

function Remove-Owned([string]$Folder, [string]$Sid) {
    foreach ($entry in (Get-OwnedBy $Folder $Sid)) {
        if ($entry -is [IO.DirectoryInfo]) { Remove-Tree $entry.FullName } else { Remove-File $entry }
    }
}

function Remove-File($Entry) {
    $Entry.Attributes = [IO.FileAttributes]::Normal
    $Entry.Delete()
}

function Get-GuestProfiles($Config) {
    # By the registry's list, as Windows keeps it: also those that became TEMP or .000 ones.
    $sid = Get-GuestSid $Config
    return @(Get-CimInstance -ClassName Win32_UserProfile | Where-Object { -not $_.Special -and $_.SID -ceq $sid })
}

function Get-StrayFolders($Config) {
    $pattern = '^(TEMP|' + [regex]::Escape($Config.guest) + ')(\..+)?$'
    return @((New-Object IO.DirectoryInfo($Config.users)).GetDirectories() | Where-Object { $_.Name -match $pattern })
}

function Get-ForeignNetworks($Config) {
    # Wi-Fi profiles that nobody has put on the list: name and file.
    $folder = Join-Path $env:ProgramData 'Microsoft\Wlansvc\Profiles\Interfaces'
    if (-not [IO.Directory]::Exists($folder)) { return @() }
    $found = @()
    foreach ($path in [IO.Directory]::GetFiles($folder, '*.xml', [IO.SearchOption]::AllDirectories)) {
        $name = [string]([xml][IO.File]::ReadAllText($path)).WLANProfile.name
        if ($Config.networks -cnotcontains $name) { $found += @{ name = $name; path = $path } }
    }
    return $found
}

function Get-RecycleFolders([string]$Sid) {
    $found = @()
    foreach ($drive in (Get-CimInstance -ClassName Win32_LogicalDisk -Filter 'DriveType=3')) {
        $path = Join-Path "$($drive.DeviceID)\" "`$Recycle.Bin\$Sid"
        if ([IO.Directory]::Exists($path)) { $found += $path }
    }
    return $found
}

function Get-Residue($Config) {
    # Place -> how many. Numbers, never names.
    $sid = Get-GuestSid $Config
    $counts = [ordered]@{
        profiles = @(Get-GuestProfiles $Config).Count
        folders  = @(Get-StrayFolders $Config).Count
        temp     = @(Get-OwnedBy "$env:SystemRoot\Temp" $sid).Count
        public   = 0
        printing = @(Get-CimInstance -ClassName Win32_PrintJob).Count
        wifi     = @(Get-ForeignNetworks $Config).Count
        recycle  = @(Get-RecycleFolders $sid).Count
        downloads = @(Get-BitsTransfer -AllUsers | Where-Object { $_.OwnerAccount -like "*\$($Config.guest)" }).Count
    }
    foreach ($folder in [IO.Directory]::GetDirectories((Join-Path $Config.users 'Public'))) {
        $counts.public += @(Get-OwnedBy $folder $sid).Count
    }
    if ($Config.uwf -and -not (Test-WriteFilter)) { $counts.uwf_off = 1 }
    return $counts
}

function Test-WriteFilter {
    # The filter's present state, not what is set for the next start. Only Enterprise and Education.
    $filter = Get-CimInstance -Namespace 'root\standardcimv2\embedded' -ClassName UWF_Filter -ErrorAction SilentlyContinue
    return [bool]($filter -and $filter.CurrentEnabled)
}
