# Starts the build that $BUILD describes (JSON) in the project $PROJECT and waits for its end. Run by the job of
# first_image.tf, whose own timeout ends the waiting.
#
# In the global pool, because a young project may build in a few regions only, and Tokyo is none of them (Cloud Build:
# locations, restricted regions).

config=$(mktemp)
printf '%s' "$BUILD" > "$config"
build=$(gcloud builds submit --no-source --async --config="$config" \
    --project="$PROJECT" --region=global --format='value(id)')
echo "build $build: https://console.cloud.google.com/cloud-build/builds;region=global/$build?project=$PROJECT"

while true; do
    status=$(gcloud builds describe "$build" --project="$PROJECT" --region=global --format='value(status)')
    case $status in
        SUCCESS) exit 0 ;;
        QUEUED | PENDING | WORKING) sleep 5 ;;
        *)
            echo "the build ended with $status: read its log at the address above" >&2
            exit 1
            ;;
    esac
done
