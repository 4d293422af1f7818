user_pref("browser.startup.homepage", "https://scratch.mit.edu/projects/editor/?locale=de");
user_pref("browser.startup.page", 1);
