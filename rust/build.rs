//! Compresses the script of the plotting library, which the coverage page embeds. The executable
//! then carries a third of its size, and leaves out the renderer of formulas.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cli")]
    compress_plotting_script();
}

#[cfg(feature = "cli")]
fn compress_plotting_script() {
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    const END: &str = "</script>";
    let scripts = plotly::Plot::offline_js_sources();
    // The first element is the library. The second renders formulas, which no label has.
    let end = scripts.find(END).expect("the library ends its script") + END.len();
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names a folder"));
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let script = encoder
        .write_all(&scripts.as_bytes()[..end])
        .and_then(|()| encoder.finish())
        .expect("memory takes all");
    fs::write(folder.join("plotly.html.zz"), script).expect("cargo's folder can be written to");
}
