// Large print on every page, also where a page asks for small letters.
user_pref("font.minimum-size.x-western", 18);
user_pref("font.minimum-size.x-unicode", 18);
user_pref("font.size.variable.x-western", 22);
user_pref("font.size.variable.x-unicode", 22);
user_pref("font.size.monospace.x-western", 20);
