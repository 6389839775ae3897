//! `ibid report FILE.html`: what stands on the page, read strictly and by a real browser.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Output;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

/// A name that would be markup, if it could.
const EVIL: &str = "<script>alert(1)<!-- '\"&amp;\u{1b}[31m.h";

/// A cache after a small build named `night <ly>`, and the page about it.
fn reported() -> (Cache, Project, String) {
    let include = format!("#include \"{}\"\nint a = H;\n", EVIL.replace('"', "q"));
    let files = [
        ("a.c", include.as_str()),
        ("b.cc", "int b;\n"),
        ("t.c", "const char *t = __TIME__;\n"),
        ("wrong.c", "int a = ;\n"),
    ];
    let (mut cache, project) = (Cache::new(), Project::with(&files));
    project.write(&EVIL.replace('"', "q"), "#define H 1\n");
    cache.set("IBID_BUILD", "night <ly>");
    let compile = |line: &str, outcome: &Outcome| {
        let call = project.call(&cache, line).unstable(&["t.o".to_owned()]);
        call.check().expect(outcome);
    };
    compile("gcc -c a.c -o a.o", &Outcome::Miss);
    compile("gcc -c a.c -o a.o", &Outcome::InvocationHit);
    compile("g++ -c b.cc -o b.o", &Outcome::Miss);
    compile("gcc -c t.c -o t.o", &Outcome::NotStored("used_time".into()));
    compile("gcc -c wrong.c", &Outcome::ToolFailure);
    compile("gcc --version", &Outcome::PassedThrough("query".into()));
    project.write(&EVIL.replace('"', "q"), "#define H 2\n");
    compile("gcc -c a.c -o a.o", &Outcome::Miss);
    let file = cache.root().join("page.html");
    let said = cache.say(&["report", file.to_str().unwrap()]);
    assert_eq!(said, format!("{}: build night <ly>, 7 calls\n", file.display()));
    let page = fs::read_to_string(&file).unwrap();
    (cache, project, page)
}

/// All text in an element.
fn text_of(node: roxmltree::Node) -> String {
    node.descendants().filter(roxmltree::Node::is_text).map(|node| node.text().unwrap()).collect()
}

#[track_caller]
fn parse(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(page, options)
        .unwrap_or_else(|error| panic!("{error}: {page}"))
}

/// The rows of the table that follows a heading, its head first.
fn rows(page: &roxmltree::Document, heading: &str) -> Vec<Vec<String>> {
    let is_it = |node: &roxmltree::Node| {
        ["h2", "h3"].contains(&node.tag_name().name()) && text_of(*node) == heading
    };
    let heading = page.descendants().find(is_it).unwrap_or_else(|| panic!("no {heading}"));
    let all = heading.next_siblings().flat_map(|node| node.descendants());
    let table = all.into_iter().find(|node| node.tag_name().name() == "table").unwrap();
    let rows = table.descendants().filter(|node| node.tag_name().name() == "tr");
    rows.map(|row| row.children().filter(roxmltree::Node::is_element).map(text_of).collect())
        .collect()
}

#[test]
fn what_stands_on_the_page() {
    let (_cache, _project, page) = reported();
    let document = parse(&page);
    let title = document.descendants().find(|node| node.tag_name().name() == "title").unwrap();
    assert_eq!(text_of(title), "ibid: night <ly>");
    let figures: Vec<String> =
        document.descendants().filter(|node| node.tag_name().name() == "dd").map(text_of).collect();
    assert_eq!(figures[..5], ["20.0 %", "1", "4", "1", "1"].map(str::to_owned), "{figures:?}");

    let causes = rows(&document, "Why compiles missed");
    let find = |text: &str| {
        causes
            .iter()
            .find(|row| row[2].contains(text))
            .unwrap_or_else(|| panic!("{text}: {causes:?}"))
    };
    let changed = find("has changed");
    assert!(changed[2].starts_with("<script>alert(1)<!-- 'q&amp;"), "{changed:?}");
    assert!(!changed[2].contains('\u{1b}'), "{changed:?}");
    assert_eq!((changed[0].as_str(), changed[4].as_str()), ("1", "a.c"));
    assert_eq!(find("not compiled before")[0], "2");
    let time = find("__TIME__");
    assert!(time[3].contains("SOURCE_DATE_EPOCH"), "{time:?}");
    let slowest = rows(&document, "Slowest misses");
    assert_eq!(slowest.len(), 5);
    assert!(slowest[1..].iter().all(|row| row[0].ends_with(" s")), "{slowest:?}");
    let tools = rows(&document, "What was served");
    let row = |name: &str| tools.iter().find(|row| row[0] == name).unwrap()[1..3].to_vec();
    assert_eq!(
        (row("gcc"), row("g++")),
        (vec!["1".into(), "3".into()], vec!["0".into(), "1".into()])
    );
    let ages = rows(&document, "By age");
    assert_eq!((ages[1][0].as_str(), ages[1][2].as_str()), ("under an hour", "3"), "{ages:?}");
    let worths = rows(&document, "By compile time for its size");
    let records: usize = worths[1..].iter().map(|row| row[2].parse::<usize>().unwrap()).sum();
    assert_eq!(records, 3, "{worths:?}");
    assert_eq!(rows(&document, "What saves most").len(), 4);
}

/// Nothing is loaded, nothing runs, and each colour of the drawings is one of the style sheet.
#[test]
fn the_page_needs_nothing() {
    let (_cache, _project, page) = reported();
    let document = parse(&page);
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let name = node.tag_name().name();
        let loads = ["script", "link", "img", "iframe", "object", "image", "use", "a"];
        assert!(!loads.contains(&name), "{name}");
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            assert!(!["src", "href", "style"].contains(&name) && !name.starts_with("on"), "{name}");
            let is_colour = ["fill", "stroke"].contains(&name) && value != "none";
            let rule = format!("svg [{name}=\"{value}\"]");
            assert!(!is_colour || page.contains(&rule), "no rule for {rule}");
        }
    }
    assert!(!page.contains("url(") && !page.contains("@import"));
    let body = page.split("</style>").nth(1).unwrap();
    let bars = |fill: &str| body.matches(&format!("fill=\"{fill}\"")).count();
    // A bar and the legend: served, stored, not stored, failed, passed through.
    for (fill, count) in
        [("#030303", 2), ("#040404", 4), ("#050505", 2), ("#060606", 2), ("#070707", 2)]
    {
        assert_eq!(bars(fill), count, "{fill}: {page}");
    }
}

/// A real browser reads it as it was meant, and runs nothing of it.
#[test]
fn in_a_browser() {
    if !tools::have("chromium") {
        return;
    }
    let (cache, _project, _page) = reported();
    let home = cache.root().join("home");
    let run = |args: &[&str]| -> Output {
        let mut command = cache.command(tools::path_of("chromium"));
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.arg(format!("--user-data-dir={}", home.join("chromium").display())).args(args);
        let page = format!("file://{}", cache.root().join("page.html").display());
        let done = command.arg(page).current_dir(cache.root()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        done
    };
    let done = run(&["--dump-dom"]);
    let read = String::from_utf8(done.stdout).unwrap();
    assert!(read.contains("<title>ibid: night &lt;ly&gt;</title>"), "{read}");
    assert_eq!(read.matches("<script").count(), 0, "{read}");
    assert_eq!(read.matches("<h2>").count(), 5, "{read}");
    run(&["--screenshot=page.png", "--window-size=1100,1600"]);
    let picture = fs::read(cache.root().join("page.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{}", picture.len());
    run(&["--print-to-pdf=page.pdf"]);
    assert!(fs::read(cache.root().join("page.pdf")).unwrap().starts_with(b"%PDF"));
}

#[test]
fn about_a_build_or_none() {
    let (cache, _project, _page) = reported();
    let file = cache.root().join("other.html");
    let name = file.to_str().unwrap();
    cache.say(&["report", name, "--build", "night <ly>"]);
    let done = cache.ibid(["report", name, "--build", "none such"]).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert_eq!(said, "ibid: no build `none such` is known; the last are `night <ly>`\n");
    // After that the rings are empty, and the cache is not.
    cache.say(&["stats", "--zero"]);
    let mut command = cache.ibid(["report", name]);
    let done = command.env_remove("IBID_BUILD").output().unwrap();
    let expected = format!("{name}: no build is known yet\n");
    assert_eq!(String::from_utf8(done.stdout).unwrap(), expected);
    let page = fs::read_to_string(&file).unwrap();
    let document = parse(&page);
    assert_eq!(rows(&document, "By age")[1][2], "3");
    assert!(!page.contains("Timeline"));
}

/// One line, status 2, and nothing is there that was not there before.
#[test]
fn bad_paths() {
    let (cache, _project, _page) = reported();
    let root = cache.root();
    fs::write(root.join("file"), "old").unwrap();
    let names = || {
        let all = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    };
    let before = names();
    for path in ["no/such/page.html", "file/page.html", ".", "home", "new.html/"] {
        let done = cache.ibid(["report", path]).current_dir(root).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{path}: {said}");
        assert!(done.stdout.is_empty() && said.lines().count() == 1, "{path}: {said}");
        assert!(said.starts_with(&format!("ibid: cannot write {path}: ")), "{said}");
        assert_eq!(names(), before, "{path}");
    }
    assert_eq!(fs::read(root.join("file")).unwrap(), b"old");
    for args in
        [&["report"][..], &["report", ""], &["report", "a", "b"], &["report", "--json", "a"]]
    {
        assert_eq!(cache.ibid(args).output().unwrap().status.code(), Some(2), "{args:?}");
    }
    // An old page is replaced as a whole.
    cache.say(&["report", root.join("file").to_str().unwrap()]);
    assert!(fs::read(root.join("file")).unwrap().ends_with(b"</html>\n"));
    let odd = root.join(Path::new(std::ffi::OsStr::from_bytes(b"p\xff.html")));
    let done = cache.ibid([std::ffi::OsStr::new("report"), odd.as_os_str()]).output().unwrap();
    assert!(done.status.success() && odd.exists(), "{done:?}");
}
