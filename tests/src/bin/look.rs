//! Looks at a machine as a worker does, once for every line that comes in, and writes what it sees as a line of JSON.
//! It is a process of its own, so that a test can give it an environment: the library of PHALANX_NVML_LIBRARY, the
//! tools of PATH.
//!
//! - `look gpus`: what NVML says
//! - `look all ROOT`: the kernel's files of a saved machine, and on top of them the drivers' libraries and tools
//! - `look npus ROOT`: what keeps `npu-smi` from telling all of the NPUs of a saved machine
//! - `look free`: the GPUs that ranks can have; the first line is its own process id
//! - `look wrapper`: what nvml-wrapper itself makes of the first link of the first GPU

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::path::Path;

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::P2pCapabilitiesIndex;
use phalanx_formats::dir::Dir;
use phalanx_formats::sysfs;
use phalanx_worker::discovery::ascend;
use phalanx_worker::discovery::nvidia::{self, Board, LIBRARY_VARIABLE};
use phalanx_worker::discovery::ours::is_ours;
use phalanx_worker::survey::Looker;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let library = || std::env::var_os(LIBRARY_VARIABLE);
    match args[..] {
        ["gpus"] => {
            let mut board = Board::open(library())?;
            each_line(|| Ok(serde_json::to_value(board.read()?)?))
        }
        ["all", root] => {
            let mut looker = Looker::new(Dir::open(Path::new(root))?, library());
            each_line(|| {
                let look = looker.look();
                Ok(json!({"machine": look.machine, "beyond": look.beyond}))
            })
        }
        ["npus", root] => {
            let machine = sysfs::read_all(&Dir::open(Path::new(root))?).machine;
            each_line(|| Ok(json!(ascend::npus(&machine).problems)))
        }
        ["free"] => {
            write(&json!(std::process::id()))?;
            each_line(|| {
                let free = nvidia::free_gpus(library(), is_ours)?;
                Ok(json!({"gpus": free.gpus, "taken": free.taken, "lost": free.lost}))
            })
        }
        ["wrapper"] => write(&wrapper(library().unwrap_or_default())?),
        _ => Err("usage: look (gpus | all ROOT | npus ROOT | free | wrapper)".into()),
    }
}

fn each_line(mut look: impl FnMut() -> Result<Value, Failure>) -> Result<(), Failure> {
    for line in io::stdin().lock().lines() {
        line?;
        write(&look()?)?;
    }
    Ok(())
}

fn write(value: &Value) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{value}")?)
}

fn wrapper(library: OsString) -> Result<Value, Failure> {
    let nvml = Nvml::builder().lib_path(&library).init()?;
    let (first, second) = (nvml.device_by_index(0)?, nvml.device_by_index(1)?);
    let link = first.link_wrapper_for(0);
    let by_nvlink = first.p2p_status(&second, P2pCapabilitiesIndex::NvLink)?;
    Ok(json!({
        "remoteDeviceType": format!("{:?}", link.remote_device_type(0)?),
        "remoteBusId": link.remote_pci_info()?.bus_id,
        "byNvLink": format!("{by_nvlink:?}"),
        "commonAncestor": format!("{:?}", first.topology_common_ancestor(second)?),
    }))
}
