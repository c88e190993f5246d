import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";
import { chooseLanguage, preferredLanguage } from "./i18n/index.svelte";
import { startClock } from "./lib/clock.svelte";
import { startRouter } from "./lib/router.svelte";
import { loadConfig } from "./lib/session.svelte";
import { startTheme } from "./lib/theme.svelte";

startTheme();
startClock();
startRouter();
void loadConfig();
await chooseLanguage(preferredLanguage());
mount(App, { target: document.body });
