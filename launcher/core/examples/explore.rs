#![allow(clippy::all, clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)]
use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Source, derive};
use phalanx_formats::{csv, trace};
use phalanx_launcher_core::placement::fabric::Fabric;
use phalanx_launcher_core::simulate::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let root = "/work/shared/data";
    let topo =
        std::fs::read(format!("{root}/topology/clos-production/alibaba-lingjun-2023-topo.csv")).unwrap();
    let evidence = csv::read(&topo).unwrap().evidence(Source::Csv, "x", Timestamp(1));
    let network = derive(&[], &evidence, Timestamp(2)).unwrap();
    let fabric = Fabric::recorded(&network);
    println!("{} nodes {:?}", fabric.nodes().len(), fabric.tiers());
    let days: u64 = args[3].parse().unwrap();
    for name in args[1].split(',') {
        let bytes = std::fs::read(format!("{root}/traces/elasticflow/{name}.csv")).unwrap();
        let jobs: Vec<Job> = trace::read(&bytes)
            .unwrap()
            .into_iter()
            .map(|j| Job { submitted: j.submitted, duration: j.duration, gpus: j.gpus })
            .collect();
        for load in args[2].split(',') {
            let demand = Demand {
                load_percent: load.parse().unwrap(),
                nodes: 847,
                gpus_per_node: 8,
                measured: days * 86400,
                most: 8_000_000,
                seed: args.get(5).map_or(1, |s| s.parse().unwrap()),
            };
            let w = match Workload::new(&jobs, &demand) {
                Ok(w) => w,
                Err(e) => {
                    println!("{name} {load}: {e}");
                    continue;
                }
            };
            println!(
                "\n{name} {load}% copies {} stretch {} arrivals {} warm {:.1} offered {:.3}",
                w.copies,
                w.stretch_permille,
                w.arrivals.len(),
                w.warm_up as f64 / 86400.,
                w.offered() / 6776.
            );
            println!(
                "{:10} {:>8} {:>8} {:>7} {:>9} {:>9} {:>7} {:>6} {:>8} {:>7} {:>7} {:>16} us/dec",
                "policy",
                "ring",
                "grid",
                "leaves",
                "delay",
                "dl.wide",
                "p99",
                "util",
                "strand",
                "free",
                "leaf",
                "block/possible"
            );
            for p in POLICIES {
                if args.get(4).is_some_and(|only| only != "all" && !only.split(',').any(|o| o == p)) {
                    continue;
                }
                let mut pol = policy(p, &fabric, 7).unwrap();
                let t = std::time::Instant::now();
                let o = simulate(&fabric, 8, &w, pol.as_mut());
                let el = t.elapsed();
                let s = Summary::of(&fabric, 8, &o);
                println!(
                    "{p:10} {:8.1} {:8.1} {:7.3} {:9.2} {:9.1} {:7} {:6.4} {:8.4} {:7.1} {:7.3} {:8.2}/{:7.2} {:.2} halves {:.1} {:.1} leafch",
                    s.ring,
                    s.grid,
                    s.leaves,
                    s.delay.mean,
                    s.delay.wide,
                    s.delay.p99,
                    s.utilisation,
                    s.stranded,
                    s.free_nodes,
                    s.levels[0].largest,
                    s.levels[1].largest,
                    s.levels[1].possible,
                    el.as_secs_f64() * 1e6 / o.decisions as f64,
                    s.delay.halves[0],
                    s.delay.halves[1]
                );
                if s.stuck > 0 {
                    println!("   stuck {}", s.stuck)
                }
            }
        }
    }
}
